#!/usr/bin/env python3
"""Packs the tables of a Dashlane export into dashlane.zip, and those of an older one into
dashlane-old.zip."""
import pathlib, zipfile

HERE = pathlib.Path(__file__).parent

NEW = {
    "credentials.csv": '''username,username2,username3,title,password,note,url,category,otpUrl
alice@example.org,alice,,example,"p,""q""","line one
line two",https://example.org,Work / Web,otpauth://totp/x?secret=JBSWY3DPEHPK3PXP
,,,"Router, home",r0uter,,http://192.168.1.1,,
''',
    "securenotes.csv": '''title,note
note,only text
''',
    "payments.csv": '''type,account_name,account_holder,cc_number,code,expiration_month,expiration_year,routing_number,account_number,country,issuing_bank,note,name
payment_card,Alice A,,4111111111111111,123,03,2030,,,US,,,my card
bank,savings,Alice A,,,,,1234,567890,DE,Bank,,
''',
    "ids.csv": '''type,number,name,issue_date,expiration_date,place_of_issue,state
passport,P1,Alice A,2020-01-02,2030-01-02,Town,
''',
    "personalInfo.csv": '''type,title,first_name,middle_name,last_name,login,date_of_birth,place_of_birth,email,email_type,item_name,phone_number,address,country,state,city,zip,address_recipient,address_building,address_apartment,address_floor,address_door_code,job_title,url
name,MRS,Alice,,A,alice,1980-02-03,Town,,,,,,,,,,,,,,,,
email,,,,,,,,a@example.org,personal,mail,,,,,,,,,,,,,
''',
    "wifi.csv": '''ssid,passphrase,name,note,hidden,encryption_type
net,wifi-pw,home,,false,WPA2
''',
}
OLD = {
    "credentials.csv": '''username,title,password,note,url,category,otpSecret
bob,example,p1,,https://example.org,,JBSWY3DPEHPK3PXP
bob,short
''',
    "securenotes.csv": '''title,note,category
note,only text,Work
''',
    "new.csv": '''whatever,else
1,2
''',
    "readme.txt": '''text
''',
}

for name, tables in [("dashlane.zip", NEW), ("dashlane-old.zip", OLD)]:
    with zipfile.ZipFile(HERE / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for table, text in tables.items():
            info = zipfile.ZipInfo(table, (2024, 1, 1, 0, 0, 0))
            archive.writestr(info, text, zipfile.ZIP_DEFLATED)
