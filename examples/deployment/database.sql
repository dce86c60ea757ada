-- The agents' own database and role, run once by an administrator. Agents make their tables when they start.
CREATE ROLE streamhouse LOGIN PASSWORD 'choose-one';
CREATE DATABASE streamhouse OWNER streamhouse;
