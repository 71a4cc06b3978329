"""Walks recordings through time with the engine that the stream uses, and scores what it told."""
