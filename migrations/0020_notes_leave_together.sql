-- Notes leave together, in one round trip. Their requests were built from what was read without a
-- lock; a note whose draft was changed since then, or about which a recording was announced, stays,
-- and is built anew under the lock (vsek.store.outbox). Each statement of a function sees what was
-- committed before it, so what follows the lock sees what its last holder did.

CREATE FUNCTION vsek.let_notes_leave(
    ids bigint[], calls text[], revisions integer[], finishes boolean[], requests text[],
    moment timestamptz
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM vsek.note_drafts AS d WHERE d.call_id = ANY (calls) ORDER BY d.call_id FOR UPDATE;
    RETURN QUERY
    UPDATE vsek.note_due AS n
    SET request = leaving.request::jsonb, left_at = coalesce(n.left_at, moment),
        revision = leaving.revision
    FROM unnest(ids, calls, revisions, finishes, requests)
         AS leaving (id, call_id, revision, finished, request)
    WHERE n.id = ANY (ids) AND n.id = leaving.id
      AND n.request IS NULL AND n.folded_into IS NULL AND n.acked_at IS NULL
      AND EXISTS (SELECT FROM vsek.note_drafts AS d
                  WHERE d.call_id = leaving.call_id AND d.revision = leaving.revision
                    AND d.finished = leaving.finished)
      AND NOT EXISTS (SELECT FROM vsek.recordings AS r WHERE r.call_id = leaving.call_id)
    RETURNING n.id;
END
$$;
