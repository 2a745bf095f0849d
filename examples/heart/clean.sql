COPY predictions TO 'predictions.csv';
DROP TABLE predictions;
DROP MODEL heart;
DROP MODEL heart_prepare;
