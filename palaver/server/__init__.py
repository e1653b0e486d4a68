"""The HTTP door: requests are checked and become calls of `chat`; replies take the shapes of the API."""
