-- The same text with its mistakes corrected.
-- Needs a model of your own that follows instructions.
SELECT ai_fix_grammar('The lamp dont works since monday.', max_tokens := 8) AS corrected;
