-- The table stockService reads. Every change of a row counts its version up.
create table stock (
  id bigint primary key,
  quantity integer not null check (quantity >= 0),
  version bigint not null default 1
);

create function count_version() returns trigger language plpgsql as $$
begin
  new.version := old.version + 1;
  return new;
end $$;

create trigger stock_version before update on stock for each row execute function count_version();

insert into stock (id, quantity) values (200, 12), (201, 0), (202, 340);
