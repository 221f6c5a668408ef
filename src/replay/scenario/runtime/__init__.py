"""What runs inside locust: the only room that imports it."""
