"""Seeded fakes of every port, shipped for the tests of other components."""
