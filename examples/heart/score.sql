-- Two models, one after the other: the columns as the classifier knows them, then the classifier. Predictions are
-- appended to what is there.
SET sqlinfer_output_action = 'append_row';
CREATE TABLE predictions AS
SELECT p.* EXCLUDE (prepared), unnest(ai_predict('heart', prepared))
FROM (SELECT *, ai_predict('heart_prepare', patients) AS prepared FROM 'heart-unlabeled-0.csv' patients) p;
RESET sqlinfer_output_action;
