"""What all test servers stand on: a cache, installers, processes, endpoints of one's own."""
