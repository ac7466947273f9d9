"""Pure compilers: objects in, resources and problems out."""
