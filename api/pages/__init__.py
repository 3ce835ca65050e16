"""The web pages, one module a page. Rendered on the server; everything reads and filters without JavaScript."""
