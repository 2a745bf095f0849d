-- How near a summary comes to a reference; no model is asked.
SELECT rouge('the lamp flickers', 'the lamp flickers again').rouge1 AS rouge1,
       rouge('the lamp flickers', 'again the lamp flickers').rougeL AS rouge_l;
