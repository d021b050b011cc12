-- How far `verify --since-last` has proved a group, and what the next one starts from.

CREATE TABLE verified_groups (
    consumer_group text        PRIMARY KEY,
    verified_at    timestamptz NOT NULL,
    with_topic     boolean     NOT NULL,
    pruned_rows    bigint      NOT NULL,
    state          jsonb       NOT NULL
);
COMMENT ON TABLE verified_groups IS 'Groups that `verify --since-last` found right, and when it last did.';
COMMENT ON COLUMN verified_groups.verified_at IS 'When the snapshot was taken that was proved.';
COMMENT ON COLUMN verified_groups.with_topic IS 'Whether each offset was compared with its message, too, since the first mark.';
COMMENT ON COLUMN verified_groups.pruned_rows IS 'Rows that `prune` had dropped by then; if more were dropped since, the next run proves everything.';
COMMENT ON COLUMN verified_groups.state IS 'What the proved rows amount to: sessions and pairs, from which the next run continues.';

CREATE TABLE verified_offsets (
    consumer_group  text    NOT NULL,
    topic           text    NOT NULL,
    kafka_partition integer NOT NULL,
    topic_id        text    NOT NULL,
    first_offset    bigint  NOT NULL,
    next_offset     bigint  NOT NULL,
    metrics         bigint  NOT NULL,
    rejected        bigint  NOT NULL,
    gaps            bigint  NOT NULL,
    duplicates      bigint  NOT NULL,
    holes           bigint  NOT NULL,
    digest          bytea   NOT NULL,
    PRIMARY KEY (consumer_group, topic, kafka_partition)
);
COMMENT ON TABLE verified_offsets IS 'The mark of each partition: offsets from first_offset, up to but not including next_offset, were proved.';
COMMENT ON COLUMN verified_offsets.metrics IS 'How many of these offsets had this outcome, like rejected, gaps, duplicates and holes.';
COMMENT ON COLUMN verified_offsets.digest IS 'Fingerprint of these outcomes with all their values; a whole verification compares it.';

-- Where the roles are there already.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_reader') THEN
        GRANT SELECT ON verified_groups, verified_offsets TO cryptometrics_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_writer') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON verified_groups, verified_offsets TO cryptometrics_writer;
    END IF;
END
$$;
