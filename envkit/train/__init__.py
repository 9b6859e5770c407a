"""The bundled trainer: an embedded engine, a renderer, and a readable loop. Needs the extra `train`."""
