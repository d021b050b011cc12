"""The page in the browser: an HTTP server with a JSON API and a stream, over what is stored (extra `web`)."""
