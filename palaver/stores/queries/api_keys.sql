-- name: add_api_key
INSERT INTO api_keys (id, owner, name, hash, hint, scopes, requests_per_minute, tokens_per_minute, created_at,
                      expires_at, window_settings)
VALUES (:id, :owner, :name, :hash, :hint, :scopes, :requests_per_minute, :tokens_per_minute, :now, :expires_at,
        :window_settings)

-- name: close_door
-- From now on a key is asked for, whatever becomes of the keys.
INSERT INTO access (seq, closed_at) VALUES (1, :now) ON CONFLICT (seq) DO NOTHING

-- name: closed_door
SELECT closed_at FROM access WHERE seq = 1

-- name: all_api_keys
-- By the primary key, so in the order in which they were made.
SELECT k.*, o.name AS owner_name FROM api_keys k JOIN owners o ON o.seq = k.owner WHERE k.seq > 0 ORDER BY k.seq

-- name: api_keys_of_owner
SELECT k.*, o.name AS owner_name FROM api_keys k JOIN owners o ON o.seq = k.owner
WHERE k.owner = (SELECT seq FROM owners WHERE name = :owner) ORDER BY k.seq

-- name: api_key
SELECT k.*, o.name AS owner_name FROM api_keys k JOIN owners o ON o.seq = k.owner WHERE k.id = :id

-- name: api_key_with_hash
SELECT k.*, o.name AS owner_name FROM api_keys k JOIN owners o ON o.seq = k.owner WHERE k.hash = :hash

-- name: revoke_api_key
-- The first time counts.
UPDATE api_keys SET revoked_at = :now WHERE seq = :seq AND revoked_at IS NULL

-- name: touch_api_key
UPDATE api_keys SET last_used_at = :used_at WHERE id = :id AND coalesce(last_used_at, 0) < :used_at
