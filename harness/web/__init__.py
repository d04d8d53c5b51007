"""The web page of `nohype serve`: campaigns as the store and their folders have them. It reads and never writes."""
