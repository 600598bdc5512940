"""HTTP client plugins: each wraps the one method through which a library sends."""
