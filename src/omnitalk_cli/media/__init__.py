"""Media files through ffmpeg."""
