-- Into a language, or from one into another.
-- Needs a model of your own that follows instructions.
SELECT ai_translate('The lamp is broken.', 'German', max_tokens := 6) AS german,
       ai_translate('Die Lampe ist kaputt.', 'German', 'French', max_tokens := 6) AS french;
