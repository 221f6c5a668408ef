"""What URLs, HTML, XML and multipart forms hold, each value with where it stands. Imports nothing of ours."""
