-- Names and dates do not leave the database.
-- Needs a model of your own that follows instructions.
SELECT ai_mask('Call Ms Costa before 3 May.', ['person', 'date'], max_tokens := 8) AS masked;
