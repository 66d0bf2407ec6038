-- Policies name users by their unique ids, whatever the account.
CREATE INDEX users_by_unique_id ON users (user_id);
