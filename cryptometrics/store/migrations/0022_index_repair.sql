-- An interrupted update of the block-range index leaves a placeholder for its current range, and
-- brin_summarize_new_values skips placeholders. Searches then read that range and every range after it, because
-- brin_deform_tuple sets bt_placeholder in a reused tuple and never clears it. So a search for a time that no row has
-- finds the placeholder: it reads every block from there on.

-- As before, and afterwards summarise the range of a placeholder again.
CREATE OR REPLACE FUNCTION crypto_metrics_summarize(days date[]) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET enable_seqscan = off
SET constraint_exclusion = partition
SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    block_size bigint := current_setting('block_size');
    part record;
    plan json;
    size_before bigint;
    size_after bigint;
    blocks_read bigint;
    first_block bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('crypto_metrics_summarize')) THEN
        RETURN;
    END IF;
    FOR part IN
        SELECT i.indexrelid::regclass AS index, c.oid::regclass AS rows,
               coalesce((SELECT split_part(option, '=', 2)::bigint FROM unnest(x.reloptions) AS option
                         WHERE option LIKE 'pages\_per\_range=%'), 128) AS range
        FROM pg_inherits p
        JOIN pg_class c ON c.oid = p.inhrelid
        JOIN pg_index i ON i.indrelid = c.oid
        JOIN pg_class x ON x.oid = i.indexrelid
        JOIN pg_am a ON a.oid = x.relam AND a.amname = 'brin'
        WHERE p.inhparent = 'crypto_metrics'::regclass
          AND (c.relname = 'crypto_metrics_before'
               OR c.relname = ANY (SELECT crypto_metrics_day_name(day) FROM unnest(days) AS day))
    LOOP
        size_before := pg_relation_size(part.rows) / block_size;
        PERFORM brin_summarize_new_values(part.index);
        EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT FROM %s WHERE timestamp = ''infinity''', part.rows)
            INTO plan;
        blocks_read := plan -> 0 -> 'Plan' -> 'Lossy Heap Blocks';
        size_after := pg_relation_size(part.rows) / block_size;
        -- A search must read new blocks, and may read the newest range.
        IF blocks_read > size_after - size_before + part.range THEN
            -- The size of the table during the search lies between these two.
            first_block := greatest(size_before - blocks_read, 0) / part.range * part.range;
            FOR block IN first_block .. size_after - blocks_read BY part.range LOOP
                PERFORM brin_desummarize_range(part.index, block);
            END LOOP;
            PERFORM brin_summarize_new_values(part.index);
        END IF;
    END LOOP;
EXCEPTION WHEN undefined_table THEN
    NULL;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION crypto_metrics_summarize(date[]) SET search_path = %I, pg_temp', current_schema());
END
$$;
