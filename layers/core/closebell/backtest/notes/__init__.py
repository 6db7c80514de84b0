"""What a reader of results must know: of the bars, of the universe, of how the desk fared."""
