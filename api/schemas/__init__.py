"""The shapes of requests and answers, for OpenAPI and, where a request is read by them, for checking it."""
