"""Models: registered, versioned, carded, gated, approved by somebody else, released, and on record for what was live."""
