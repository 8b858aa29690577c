#!/bin/sh
# Makes the secrets that docker-compose.yml mounts. What is there already stays: run it as often as you like.
set -eu
cd "$(dirname "$0")/secrets"
# The files are mounted into containers that run as other users; the folder keeps everyone else on this host out.
chmod 700 .

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

[ -s http_tokens ] || random > http_tokens
[ -s postgres_password ] || random > postgres_password
[ -s stock_db_url ] || printf 'postgres://cachewright:%s@postgres:5432/stock' "$(cat postgres_password)" > stock_db_url
chmod 644 http_tokens postgres_password stock_db_url
echo "secrets are in $(pwd)"
