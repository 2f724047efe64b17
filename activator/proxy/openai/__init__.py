"""What endpoints with `dialect: openai` do beyond HTTP: how errors look, what a body is read for,
the list of models, signs of life to streams that wait. What every endpoint does is `proxy`'s."""
