"""What the checker of certificates needs, written without the mapper: classes of mappings and their bounds."""
