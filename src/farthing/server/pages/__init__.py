"""Pages for people, and the OpenAPI document that they are made from."""
