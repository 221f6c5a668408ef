"""What a rehearsal leaves on disk, and all that the judge may see."""
