-- Consumer groups that are being deleted: a mark that is set first and removed last.

CREATE TABLE group_deletions (
    consumer_group text        PRIMARY KEY,
    begun_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE group_deletions IS 'Groups that `groups delete` has begun to delete. Nothing is claimed or imported for such a group; the same command finishes the work.';

-- Where the roles are there already: the writer looks for the mark when it claims a partition.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('cryptometrics_reader', 'cryptometrics_writer') LOOP
        EXECUTE format('GRANT SELECT ON group_deletions TO %I', role);
    END LOOP;
END
$$;
