"""
Real servers for the tests, without a container engine: one module here is one server.

Such a module has a docstring that says what it is, a `TIER`, `install()` and `start()`:

- `TIER` is `quick` for what comes ready from pip, npm or apt, `full` for what is built or large.
- `install()` brings the program into the cache, once; it raises `Missing` where a tool for that is not there.
- `start()` installs, starts on free loopback ports and gives the running server: something with an `endpoint`
  (`host:port`), `stop()`, `kill()` and `restart()`, such as a `kit.program.Program`. It may take options.

A server of one's own takes precedence: `TEST_OTEL_LLM_KAFKA=host:port` is given as it stands, and never stopped.
`python -m tests.servers list` names them all. In tests, the fixture `servers` starts each when it is first asked for.
"""
