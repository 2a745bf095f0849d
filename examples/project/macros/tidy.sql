{% macro tidy(column) %}trim(regexp_replace({{ column }}, '\s+', ' ', 'g')){% endmacro %}
