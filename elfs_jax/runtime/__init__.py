"""What the machine provides: devices and hosts, a workdir, artifacts and the stages kept in it."""
