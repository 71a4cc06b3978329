"""`forewarn doctor`: finds the usual mistakes of a set-up and says how each is mended."""
