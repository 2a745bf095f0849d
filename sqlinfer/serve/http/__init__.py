"""The models behind OpenAI's API over HTTP: requests of all clients join the running batch of their model."""
