-- What people say about alerts: who has seen one, and which are not to be sent for a while.

CREATE TABLE alert_acknowledgements (
    alert_id           bigint      PRIMARY KEY REFERENCES alerts ON DELETE CASCADE,
    acknowledged_by    text        NOT NULL,
    acknowledged_at    timestamptz NOT NULL DEFAULT now(),
    why                text        NOT NULL,
    acknowledged_login name        NOT NULL
);
COMMENT ON TABLE alert_acknowledgements IS 'Who has seen an alert, and what they do about it. One per alert, written once; it informs others and changes nothing else.';
COMMENT ON COLUMN alert_acknowledgements.acknowledged_by IS 'The name that the author gave.';
COMMENT ON COLUMN alert_acknowledgements.acknowledged_login IS 'The author''s login at the database, which nobody can choose.';

CREATE TABLE alert_silences (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule          text        NOT NULL,
    pair          text        NOT NULL,
    why           text        NOT NULL,
    created_by    text        NOT NULL,
    created_login name        NOT NULL,
    starts_at     timestamptz NOT NULL DEFAULT now(),
    ends_at       timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_by      text,
    ended_login   name,
    CHECK (starts_at < ends_at),
    CHECK (num_nulls(ended_at, ended_by, ended_login) IN (0, 3))
);
CREATE INDEX alert_silences_ends_at ON alert_silences (ends_at) WHERE ended_at IS NULL;
COMMENT ON TABLE alert_silences IS 'Alerts that begin while a silence covers their rule and pair are stored and not sent. It is active from starts_at until ends_at, or until a person ended it.';
COMMENT ON COLUMN alert_silences.rule IS 'Pattern of the names of rules, with *, ? and [ ].';
COMMENT ON COLUMN alert_silences.pair IS 'Pattern of pairs, or of what an alert names instead of a pair; * covers all. Capital and small letters are the same.';
COMMENT ON COLUMN alert_silences.created_by IS 'The name that the author gave.';
COMMENT ON COLUMN alert_silences.created_login IS 'The author''s login at the database, which nobody can choose.';
COMMENT ON COLUMN alert_silences.ended_at IS 'When a person ended it early; NULL if nobody did.';
COMMENT ON COLUMN alert_silences.ended_by IS 'The name given by the person who ended it early; ended_login: their login.';

-- No foreign key: a row that is deleted by hand must not make a batch of ticks fail.
ALTER TABLE alerts ADD COLUMN silence_id bigint;
COMMENT ON COLUMN alerts.silence_id IS 'The silence that keeps the alert from being sent; set when the alert is stored. If the alert still fires when the silence ends, it is sent and this becomes NULL.';

-- What people may do with the owner's rights. The texts end up on terminals and in messages: one line each.

CREATE FUNCTION crypto_check_note(what text, value text, max_characters integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF value IS NULL OR value !~ '\S' THEN
        RAISE EXCEPTION '% must not be empty', what USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(value) > max_characters THEN
        RAISE EXCEPTION '% has % characters: at most % are allowed', what, length(value), max_characters
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF value ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION '% must be one line without control characters', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

CREATE FUNCTION crypto_acknowledge_alert(alert bigint, author text, why text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    earlier alert_acknowledgements;
BEGIN
    PERFORM crypto_check_note('the author', author, 100);
    PERFORM crypto_check_note('the reason', why, 1000);
    IF NOT EXISTS (SELECT FROM alerts WHERE id = alert) THEN
        RAISE EXCEPTION 'there is no alert %', alert USING ERRCODE = 'no_data_found';
    END IF;
    INSERT INTO alert_acknowledgements (alert_id, acknowledged_by, why, acknowledged_login)
    VALUES (alert, author, crypto_acknowledge_alert.why, session_user)
    ON CONFLICT (alert_id) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO earlier FROM alert_acknowledgements WHERE alert_id = alert;
        RAISE EXCEPTION 'alert % is already acknowledged, by % at % UTC', alert, earlier.acknowledged_by,
            to_char(earlier.acknowledged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
            USING ERRCODE = 'unique_violation';
    END IF;
END
$$;

CREATE FUNCTION crypto_silence_alerts(rule text, pair text, until timestamptz, author text, why text)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    silence bigint;
BEGIN
    PERFORM crypto_check_note('the pattern of the rule', rule, 100);
    PERFORM crypto_check_note('the pattern of the pair', pair, 100);
    PERFORM crypto_check_note('the author', author, 100);
    PERFORM crypto_check_note('the reason', why, 1000);
    IF (until > now()) IS NOT TRUE THEN
        RAISE EXCEPTION 'the end of a silence must be in the future' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF until > now() + interval '30 days' THEN
        RAISE EXCEPTION 'a silence lasts at most 30 days: a longer one would be forgotten'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Whoever stores an alert compares it with all active silences.
    IF (SELECT count(*) FROM alert_silences s WHERE s.ended_at IS NULL AND s.ends_at > now()) >= 1000 THEN
        RAISE EXCEPTION 'there are already 1,000 active silences: end some first'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO alert_silences (rule, pair, why, created_by, created_login, ends_at)
    VALUES (crypto_silence_alerts.rule, crypto_silence_alerts.pair, crypto_silence_alerts.why, author,
            session_user, until)
    RETURNING id INTO silence;
    RETURN silence;
END
$$;

CREATE FUNCTION crypto_end_silence(silence bigint, author text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM crypto_check_note('the author', author, 100);
    UPDATE alert_silences SET ended_at = now(), ended_by = author, ended_login = session_user
    WHERE id = silence AND ended_at IS NULL AND ends_at > now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no active silence %', silence USING ERRCODE = 'no_data_found';
    END IF;
END
$$;

-- As in 0008: a search path that nobody else can put anything into.
DO $$
DECLARE
    path text := format('search_path = %I, pg_temp', current_schema());
    signature text;
    role text;
BEGIN
    REVOKE EXECUTE ON FUNCTION crypto_check_note(text, text, integer) FROM PUBLIC;
    FOREACH signature IN ARRAY ARRAY[
        'crypto_acknowledge_alert(bigint, text, text)',
        'crypto_silence_alerts(text, text, timestamptz, text, text)',
        'crypto_end_silence(bigint, text)'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET %s', signature, path);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
    FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('cryptometrics_reader', 'cryptometrics_writer') LOOP
        EXECUTE format('GRANT SELECT ON alert_acknowledgements, alert_silences TO %I', role);
        EXECUTE format('GRANT EXECUTE ON FUNCTION crypto_acknowledge_alert(bigint, text, text), '
                       'crypto_silence_alerts(text, text, timestamptz, text, text), '
                       'crypto_end_silence(bigint, text) TO %I', role);
    END LOOP;
END
$$;
