"""What the commands do: operations take an open connection and return models. No terminal, no environment."""
