-- Who writes a draft need not be said. While the call goes on it is the last agent who answered it;
-- afterwards who wrote before, else the call's agent. All else is as in 0013_write_draft.

CREATE OR REPLACE FUNCTION vsek.write_draft(
    wanted text, new_draft jsonb, new_dictated text, finish boolean, new_author text,
    moment timestamptz
) RETURNS TABLE (
    draft text, revision integer, finished boolean, author text, changed_at timestamptz,
    due_key text, due_at timestamptz, left_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    old vsek.note_drafts%ROWTYPE;
    newest vsek.note_due%ROWTYPE;
    changed boolean;
BEGIN
    SELECT d.* INTO old FROM vsek.note_drafts AS d WHERE d.call_id = wanted FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    changed := old.draft IS DISTINCT FROM new_draft;
    old.revision := old.revision + changed::integer;
    old.finished := old.finished OR finish;
    IF new_author <> '' THEN
        old.author := new_author;
    ELSE
        SELECT coalesce(max(a.name), old.author) INTO old.author
        FROM vsek.calls AS c JOIN vsek.agents AS a ON a.id = CASE
            WHEN c.outcome IS NULL THEN (
                SELECT s.detail ->> 'agent' FROM vsek.call_steps AS s
                WHERE s.call_id = c.id AND s.kind IN ('agent_answered', 'connected')
                  AND s.detail ->> 'agent' IS NOT NULL
                ORDER BY s.number DESC LIMIT 1
            )
            WHEN old.author = '' THEN c.agent_id
        END
        WHERE c.id = wanted;
    END IF;
    UPDATE vsek.note_drafts AS d
    SET draft = new_draft, dictated = new_dictated, revision = old.revision,
        finished = old.finished, author = old.author, changed_at = moment
    WHERE d.call_id = wanted;
    SELECT n.* INTO newest FROM vsek.note_due AS n
    WHERE n.call_id = wanted ORDER BY n.id DESC LIMIT 1;
    IF NOT FOUND THEN
        NULL;  -- The call still goes on: closing it makes the note due.
    ELSIF newest.left_at IS NULL THEN
        IF old.finished THEN
            newest.due_at := least(newest.due_at, moment);
            UPDATE vsek.note_due AS n SET due_at = newest.due_at WHERE n.id = newest.id;
            PERFORM pg_notify('vsek_note_due', '');
        END IF;
    ELSIF changed THEN
        INSERT INTO vsek.note_due AS n (key, call_id, corrects, due_at)
        VALUES ('call:' || wanted || ':auto:' || old.revision, wanted, newest.key, moment)
        RETURNING n.* INTO newest;
        PERFORM pg_notify('vsek_note_due', '');
    END IF;
    RETURN QUERY SELECT new_draft::text, old.revision, old.finished, old.author, moment,
                        newest.key, newest.due_at, newest.left_at;
END
$$;
