"""Devices in the console: who may talk to the archive, who knocked, who answers, and the trial of a new one."""
