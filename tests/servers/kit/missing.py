"""A tool that a test server needs and this machine lacks."""

import shutil


class Missing(Exception):  # noqa: N818 - it says what happened
    """
    Raised with one line that says what is missing and what to do; the fixtures skip with it.
    """


def tool(name, remedy):
    """
    Give the path of a program that has to be there.
    """
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed: {remedy}")
    return found
