-- The journal holds more than before: lifecycle policies, the archive, pull times and what is set for registries. Everything is written anew.
UPDATE journal SET refresh = 'repository', refresh_repository = 0, refresh_digest = NULL, refresh_name = NULL, refresh_number = number;
