"""Features of sound: reading audio files, and mel-frequency cepstral coefficients."""
