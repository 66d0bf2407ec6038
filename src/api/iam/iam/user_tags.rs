//! `TagUser`, `UntagUser`, `ListUserTags`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::users::user_id;
use crate::iam::views::{TagView, checked_tags};
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagUser {
    user_name: String,
    tags: Vec<TagView>,
}

impl Operation for TagUser {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "TagUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let tags = self.tags.iter().map(TagView::pair).collect();
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_tags(tags)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let tags = checked_tags(&self.tags)?;
        let users = cx.state().iam.users();
        Ok(users.tag_user(cx.scope().account, &user.name, tags).await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagUser {
    user_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagUser {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UntagUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        Ok(users.untag_user(account, &user.name, self.tag_keys).await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUserTags {
    user_name: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUserTagsOutput {
    tags: Vec<TagView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListUserTags {
    type Service = IamService;
    type Output = ListUserTagsOutput;

    const NAME: &'static str = "ListUserTags";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListUserTagsOutput> {
        let tags = cx.resource().user()?.tags.clone();
        let (tags, end) = self.paging.page(Self::NAME, tags, |(key, _)| key)?;
        Ok(ListUserTagsOutput {
            tags: tags.into_iter().map(TagView::from_pair).collect(),
            end,
        })
    }
}
