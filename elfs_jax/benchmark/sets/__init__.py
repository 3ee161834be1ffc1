"""Data sets that the project makes or gathers for its benchmark; read when one is asked for."""
