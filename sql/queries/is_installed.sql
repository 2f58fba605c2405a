-- Whether qctl was ever installed here.
select to_regclass('qctl.migration') is not null;
