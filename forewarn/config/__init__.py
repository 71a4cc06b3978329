"""Configuration: read once from environment and .env, then passed on."""
