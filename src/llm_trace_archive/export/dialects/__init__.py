"""The dialects: each module has a `DIALECT`, and is listed because it is here."""
