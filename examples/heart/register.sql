CREATE OR REPLACE MODEL heart_prepare FROM './prepare.joblib' WITH (trust = true);
CREATE OR REPLACE MODEL heart FROM './score.joblib' WITH (trust = true, returns = 'STRUCT(label BIGINT, probability DOUBLE)');
