-- Everything is written to the journal anew, so that each segment names the one before it.
UPDATE journal SET refresh = 'repository', refresh_repository = 0, refresh_digest = NULL, refresh_name = NULL, refresh_number = number
    WHERE number > 0;
